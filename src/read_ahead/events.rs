//! Server-sent events, parsed as their bytes come.
//!
//! The rules are those of the WHATWG's HTML, [section 9.2.6]; what it keeps for a reconnection (`id`, `retry`) is read
//! over.
//!
//! [section 9.2.6]: https://html.spec.whatwg.org/multipage/server-sent-events.html#event-stream-interpretation

use std::{mem, ops::ControlFlow};

const BYTE_ORDER_MARK: &[u8] = "\u{feff}".as_bytes();

/// One server-sent event.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Event<'a> {
    /// Its type: `message` if the stream gives it none.
    pub name: &'a str,
    /// Its lines of data, joined by line feeds.
    pub data: &'a str,
}

/// The parser of one stream.
///
/// It holds no more bytes than the unfinished event has brought, and looks at each once, however they come. An event
/// that is unfinished when the stream ends is none.
#[derive(Debug, Default)]
pub(crate) struct Events {
    /// The line whose end has not come.
    line: Vec<u8>,
    name: Vec<u8>,
    /// Each line with a line feed after it, so that no line and an empty one differ.
    data: Vec<u8>,
    /// Whether a line has ended: a byte order mark belongs to the first.
    begun: bool,
    /// Whether the last line ended with a CR: an LF that comes next belongs to it.
    after_cr: bool,
}

impl Events {
    /// Takes the next bytes, and calls `each` for every event that they complete, until it says to stop. The bytes after
    /// that event are lost.
    pub(crate) fn push<T>(
        &mut self,
        mut bytes: &[u8],
        mut each: impl FnMut(Event<'_>) -> ControlFlow<T>,
    ) -> ControlFlow<T> {
        while let Some(first) = bytes.first() {
            if mem::take(&mut self.after_cr) && *first == b'\n' {
                bytes = &bytes[1..];
                continue;
            }
            let Some(end) = bytes.iter().position(|byte| matches!(byte, b'\n' | b'\r')) else {
                self.line.extend_from_slice(bytes);
                break;
            };
            self.after_cr = bytes[end] == b'\r';
            let line = &bytes[..end];
            bytes = &bytes[end + 1..];
            if self.line.is_empty() {
                self.line_ended(line, &mut each)?;
            } else {
                let mut whole = mem::take(&mut self.line);
                whole.extend_from_slice(line);
                self.line_ended(&whole, &mut each)?;
                whole.clear();
                self.line = whole;
            }
        }
        ControlFlow::Continue(())
    }

    fn line_ended<T>(&mut self, mut line: &[u8], each: impl FnMut(Event<'_>) -> ControlFlow<T>) -> ControlFlow<T> {
        if !mem::replace(&mut self.begun, true) {
            line = line.strip_prefix(BYTE_ORDER_MARK).unwrap_or(line);
        }
        if line.is_empty() {
            return self.dispatch(each);
        }
        let (field, value) = match line.iter().position(|byte| *byte == b':') {
            Some(colon) => (&line[..colon], &line[colon + 1..]),
            None => (line, &[][..]),
        };
        let value = value.strip_prefix(b" ").unwrap_or(value);
        match field {
            b"event" => {
                self.name.clear();
                self.name.extend_from_slice(value);
            }
            b"data" => {
                self.data.extend_from_slice(value);
                self.data.push(b'\n');
            }
            _ => {}
        }
        ControlFlow::Continue(())
    }

    fn dispatch<T>(&mut self, mut each: impl FnMut(Event<'_>) -> ControlFlow<T>) -> ControlFlow<T> {
        let name = if self.name.is_empty() { b"message" } else { &self.name[..] };
        let flow = match self.data.split_last() {
            Some((_, data)) => {
                each(Event { name: &String::from_utf8_lossy(name), data: &String::from_utf8_lossy(data) })
            }
            None => ControlFlow::Continue(()),
        };
        self.name.clear();
        self.data.clear();
        flow
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::time::Duration;
    use tokio::time::Instant;

    type Owned = (String, String);

    /// The events of a stream that comes in these chunks.
    fn events<'a>(chunks: impl IntoIterator<Item = &'a [u8]>) -> Vec<Owned> {
        let (mut parser, mut all) = (Events::default(), Vec::new());
        for chunk in chunks {
            let flow = parser.push(chunk, |event| {
                all.push((event.name.to_owned(), event.data.to_owned()));
                ControlFlow::<()>::Continue(())
            });
            assert!(flow.is_continue());
        }
        all
    }

    fn owned(events: &[(&str, &str)]) -> Vec<Owned> {
        events.iter().map(|(name, data)| ((*name).to_owned(), (*data).to_owned())).collect()
    }

    /// The same by the whole stream: blocks between blank lines, the last of them unfinished.
    fn model(stream: &[u8]) -> Vec<Owned> {
        let text = String::from_utf8_lossy(stream).replace("\r\n", "\n").replace('\r', "\n");
        let mut lines: Vec<&str> = text.strip_prefix('\u{feff}').unwrap_or(&text).split('\n').collect();
        lines.pop();
        let mut blocks: Vec<_> = lines.split(|line| line.is_empty()).collect();
        blocks.pop();
        let values = |block: &[&str], field: &str| -> Vec<String> {
            let value = |line: &&str| {
                let (name, value) = line.split_once(':').unwrap_or((line, ""));
                (name == field).then(|| value.strip_prefix(' ').unwrap_or(value).to_owned())
            };
            block.iter().filter_map(value).collect()
        };
        let event = |block: &[&str]| {
            let (mut names, data) = (values(block, "event"), values(block, "data"));
            let name = names.pop().filter(|name| !name.is_empty()).unwrap_or("message".to_owned());
            (!data.is_empty()).then(|| (name, data.join("\n")))
        };
        blocks.into_iter().filter_map(event).collect()
    }

    /// A stream and its events.
    type Row = (&'static str, &'static str, &'static [(&'static str, &'static str)]);

    /// Those to `a space that need not be` are the standard's own examples.
    const TABLE: &[Row] = &[
        (
            "messages",
            "data: This is the first message.\n\n\
             data: This is the second message, it\ndata: has two lines.\n\n\
             data: This is the third message.\n\n",
            &[
                ("message", "This is the first message."),
                ("message", "This is the second message, it\nhas two lines."),
                ("message", "This is the third message."),
            ],
        ),
        (
            "types",
            "event: add\ndata: 73857293\n\nevent: remove\ndata: 2153\n\nevent: add\ndata: 113411\n\n",
            &[("add", "73857293"), ("remove", "2153"), ("add", "113411")],
        ),
        ("stock", "data: YHOO\ndata: +2\ndata: 10\n\n", &[("message", "YHOO\n+2\n10")]),
        (
            "comment, identities, one space of two, and no end",
            ": test stream\n\ndata: first event\nid: 1\n\ndata:second event\nid\n\ndata:  third event",
            &[("message", "first event"), ("message", "second event")],
        ),
        (
            "comment, identities, one space of two, and an end",
            ": test stream\n\ndata: first event\nid: 1\n\ndata:second event\nid\n\ndata:  third event\n\n",
            &[("message", "first event"), ("message", "second event"), ("message", " third event")],
        ),
        ("empty data", "data\n\ndata\ndata\n\ndata:", &[("message", ""), ("message", "\n")]),
        ("a space that need not be", "data:test\n\ndata: test\n\n", &[("message", "test"), ("message", "test")]),
        ("an empty line of data", "data: a\ndata\ndata: b\n\n", &[("message", "a\n\nb")]),
        ("CRLF", "event: e\r\ndata: a\r\ndata: b\r\n\r\ndata: c\r\n\r\n", &[("e", "a\nb"), ("message", "c")]),
        ("CR", "event: e\rdata: a\rdata: b\r\rdata: c\r\r", &[("e", "a\nb"), ("message", "c")]),
        (
            "mixed ends",
            "data: a\r\n\rdata: b\n\r\ndata: c\r\n\n",
            &[("message", "a"), ("message", "b"), ("message", "c")],
        ),
        ("LF and CR are two ends", "data: a\n\rdata: b\n\r", &[("message", "a"), ("message", "b")]),
        ("an end that has not come", "data: a\r\n", &[]),
        ("byte order mark", "\u{feff}data: a\n\n", &[("message", "a")]),
        ("only one byte order mark", "\u{feff}\u{feff}data: a\n\n", &[]),
        ("only at the start", "data: a\n\n\u{feff}data: b\n\ndata: c\n\n", &[("message", "a"), ("message", "c")]),
        ("byte order mark and a blank line", "\u{feff}\ndata: a\n\n", &[("message", "a")]),
        ("no data", "event: e\nid: 1\nretry: 7\n\ndata: a\n\n", &[("message", "a")]),
        ("the last type counts", "event: a\nevent: bc\ndata\nevent: d\n\n", &[("d", "")]),
        ("an empty type is none", "event: a\nevent:\ndata\n\n", &[("message", "")]),
        ("other fields", "datas: a\nData: b\n data: c\ndata : d\n:data: e\nretry: 1\ndata: f\n\n", &[("message", "f")]),
        ("colons in a value", "event: a:b\ndata::c\ndata: {\"d\":1}\n\n", &[("a:b", ":c\n{\"d\":1}")]),
        ("other white space stays", "data:\ta \n\n", &[("message", "\ta ")]),
        ("blank lines", "\n\n\r\r\n\n", &[]),
        ("comments within", "data: a\n: ping\n:\ndata: b\n\n", &[("message", "a\nb")]),
        ("beyond ASCII", "event: é\ndata: 猫\u{2028}\u{85}\n\n", &[("é", "猫\u{2028}\u{85}")]),
        ("NUL", "data: a\0b\n\n", &[("message", "a\0b")]),
        (
            "as an AI upstream streams",
            "event: message_start\ndata: {\"type\": \"message_start\"}\n\ndata: [DONE]\n\n",
            &[("message_start", "{\"type\": \"message_start\"}"), ("message", "[DONE]")],
        ),
    ];

    #[test]
    fn the_table() {
        for (what, stream, expected) in TABLE {
            let expected = owned(expected);
            assert_eq!(events([stream.as_bytes()]), expected, "{what}");
            assert_eq!(events(stream.as_bytes().chunks(1)), expected, "{what}, byte by byte");
            assert_eq!(model(stream.as_bytes()), expected, "{what}, by the model");
        }
    }

    #[test]
    fn bytes_that_are_no_utf_8_are_replaced() {
        for (stream, expected) in [
            (&b"data: a\xffb\n\n"[..], ("message", "a\u{fffd}b")),
            (b"data: \xe2\x82\ndata: \xac\n\n", ("message", "\u{fffd}\n\u{fffd}")),
            (b"event: \xc3\ndata: \xf0\x9f\x92\n\n", ("\u{fffd}", "\u{fffd}")),
            (b"data: \xe2\x82\xac\n\n", ("message", "€")),
        ] {
            assert_eq!(events([stream]), owned(&[expected]));
            assert_eq!(events(stream.chunks(1)), owned(&[expected]), "a character may come in parts");
        }
    }

    #[test]
    fn a_cr_ends_its_line_at_once() {
        let (mut parser, mut seen) = (Events::default(), Vec::new());
        for chunk in ["data: a\r", "", "\n\r", "\n", "data: b\n\r", "", "\n", "\ndata: c\r\n\r"] {
            let mut count = 0;
            let _ = parser.push(chunk.as_bytes(), |_| {
                count += 1;
                ControlFlow::<()>::Continue(())
            });
            seen.push(count);
        }
        assert_eq!(seen, [0, 0, 1, 0, 1, 0, 0, 1]);
    }

    #[test]
    fn it_stops_when_told_to() {
        let (mut parser, mut seen) = (Events::default(), 0);
        let flow = parser.push(b"data: a\n\nevent: e\ndata: b\n\ndata: c\n\n", |event| {
            seen += 1;
            if event.data == "b" { ControlFlow::Break(event.name.to_owned()) } else { ControlFlow::Continue(()) }
        });
        assert_eq!((flow, seen), (ControlFlow::Break("e".to_owned()), 2));
        let mut next = Vec::new();
        let flow = parser.push(b"data: d\n\n", |event| {
            next.push((event.name.to_owned(), event.data.to_owned()));
            ControlFlow::<()>::Continue(())
        });
        assert_eq!((flow, next), (ControlFlow::Continue(()), owned(&[("message", "d")])), "nothing is left of it");
    }

    #[test]
    fn what_has_ended_is_not_held() {
        let mut parser = Events::default();
        let stream = [": comment\nother: field\nid: 1\n", "event: e\ndata: a\n\n", "event: e\ndata: bc"];
        for (chunk, held) in stream.iter().zip([0, 0, 1 + 8]) {
            let _ = parser.push(chunk.as_bytes(), |_| ControlFlow::<()>::Continue(()));
            assert_eq!(parser.line.len() + parser.name.len() + parser.data.len(), held, "{chunk:?}");
        }
    }

    #[test]
    fn the_time_is_linear_in_the_bytes() {
        const BYTES: usize = 1 << 20;
        let line = format!("data: {}\n\n", "a".repeat(BYTES)).into_bytes();
        let lines = format!("{}\n", "data: a\n".repeat(BYTES / 8)).into_bytes();
        let events_of_one = "data\n\n".repeat(BYTES / 6).into_bytes();
        let blank = "\r\n".repeat(BYTES / 2).into_bytes();
        let begun = Instant::now();
        for (stream, count) in [(line, 1), (lines, 1), (events_of_one, BYTES / 6), (blank, 0)] {
            for size in [1, stream.len()] {
                assert_eq!(events(stream.chunks(size)).len(), count);
            }
        }
        assert!(begun.elapsed() < Duration::from_secs(20), "took {:?}", begun.elapsed());
    }

    fn stream() -> impl Strategy<Value = Vec<u8>> {
        let piece = prop_oneof![
            4 => prop::sample::select(vec![&b"\n"[..], b"\r", b"\r\n", b"\n\n", b"\r\n\r\n"]),
            4 => prop::sample::select(vec![&b"data"[..], b"event", b"id", b"retry", b":", b": ", b" "]),
            2 => prop::sample::select(vec![&b"data: a"[..], b"event: e", b"data:", b": c", b"x", b"\0"]),
            1 => prop::sample::select(vec![&b"\xef\xbb\xbf"[..], b"\xef\xbb", b"\xbf", b"\xff", b"\xe2\x82\xac", b"\xe2"]),
        ];
        let pieces = prop::collection::vec(piece, 0..40).prop_map(|pieces| pieces.concat());
        let marked = (any::<bool>(), pieces)
            .prop_map(|(mark, rest)| if mark { [BYTE_ORDER_MARK, rest.as_slice()].concat() } else { rest });
        prop_oneof![4 => marked, 1 => prop::collection::vec(any::<u8>(), 0..200)]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2_000))]

        #[test]
        fn any_split_gives_the_events_of_the_whole(
            stream in stream(),
            cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..12),
        ) {
            let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(stream.len() + 1)).collect();
            cuts.extend([0, stream.len()]);
            cuts.sort_unstable();
            let chunks = cuts.windows(2).map(|ends| &stream[ends[0]..ends[1]]);
            let expected = model(&stream);
            prop_assert_eq!(events(chunks), expected.clone());
            prop_assert_eq!(events([stream.as_slice()]), expected.clone());
            prop_assert_eq!(events(stream.chunks(1)), expected);
        }
    }
}
