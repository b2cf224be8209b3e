//! The few shapes of SVG that the timeline needs, written as text.

use std::fmt::Write;

/// How a text is set.
#[derive(Clone, Copy)]
pub struct Font {
    pub size: f64,
    pub fill: &'static str,
    pub bold: bool,
    pub anchor: Anchor,
}

#[derive(Clone, Copy)]
pub enum Anchor {
    Start,
    Middle,
    End,
}

/// A picture in the making.
pub struct Canvas {
    out: String,
}

impl Canvas {
    pub fn new(width: f64, height: f64, background: &str, title: &str) -> Self {
        let mut canvas = Self { out: String::new() };
        canvas.push(format_args!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" \
             width=\"{width}\" height=\"{height}\" role=\"img\" font-family=\"system-ui, \
             -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, sans-serif\">\n\
             <title>{}</title>",
            escaped(title)
        ));
        canvas.rect(0.0, 0.0, width, height, background);
        canvas
    }

    pub fn finish(mut self) -> String {
        self.out.push_str("</svg>\n");
        self.out
    }

    pub fn rect(&mut self, x: f64, y: f64, width: f64, height: f64, fill: &str) {
        self.rounded(x, y, width, height, 0.0, fill);
    }

    pub fn rounded(&mut self, x: f64, y: f64, width: f64, height: f64, radius: f64, fill: &str) {
        let radius = if radius > 0.0 { format!(" rx=\"{radius}\"") } else { String::new() };
        self.push(format_args!(
            "<rect x=\"{x:.1}\" y=\"{y:.1}\" width=\"{width:.1}\" height=\"{height:.1}\"{radius} \
             fill=\"{fill}\"/>"
        ));
    }

    /// A thin straight line.
    pub fn line(&mut self, from: (f64, f64), to: (f64, f64), stroke: &str) {
        let (x1, y1) = from;
        let (x2, y2) = to;
        self.push(format_args!("<path d=\"M{x1:.1} {y1:.1}L{x2:.1} {y2:.1}\" stroke=\"{stroke}\"/>"));
    }

    /// Boxes of one colour, each as (left, top, right, bottom): those that share an edge share
    /// it to the last digit, so that nothing shines through between them.
    pub fn boxes(&mut self, boxes: impl IntoIterator<Item = (f64, f64, f64, f64)>, fill: &str) {
        let mut path = String::new();
        for (left, top, right, bottom) in boxes {
            let _ = write!(path, "M{left:.1} {top:.1}H{right:.1}V{bottom:.1}H{left:.1}z");
        }
        if !path.is_empty() {
            self.push(format_args!("<path d=\"{path}\" fill=\"{fill}\" shape-rendering=\"crispEdges\"/>"));
        }
    }

    pub fn text(&mut self, x: f64, y: f64, font: Font, text: &str) {
        let Font { size, fill, bold, .. } = font;
        let weight = if bold { " font-weight=\"600\"" } else { "" };
        let anchor = match font.anchor {
            Anchor::Start => "start",
            Anchor::Middle => "middle",
            Anchor::End => "end",
        };
        self.push(format_args!(
            "<text x=\"{x:.1}\" y=\"{y:.1}\" font-size=\"{size}\" fill=\"{fill}\"{weight} \
             text-anchor=\"{anchor}\">{}</text>",
            escaped(text)
        ));
    }

    fn push(&mut self, element: std::fmt::Arguments<'_>) {
        let _ = writeln!(self.out, "{element}");
    }
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
