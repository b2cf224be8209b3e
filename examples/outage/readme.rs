//! The README's figures and its picture: drawn by a run, never typed by hand.

use std::path::Path;
use std::{fs, io};

const README: &str = "README.md";
const PICTURE: &str = "docs/outage.svg";
const BEGIN: &str = "<!-- outage:begin -->\n";
const END: &str = "<!-- outage:end -->";

/// Puts the figures between the README's marks, and the picture where it links to.
pub fn renew(figures: &str, picture: &Path) -> io::Result<()> {
    let text = fs::read_to_string(README)?;
    let parts = text.split_once(BEGIN).and_then(|(head, rest)| Some((head, rest.split_once(END)?.1)));
    let (head, tail) = parts.ok_or_else(|| io::Error::other(format!("{README} has no place for the figures")))?;
    fs::write(README, format!("{head}{BEGIN}```text\n{figures}\n```\n{END}{tail}"))?;
    fs::create_dir_all("docs")?;
    fs::copy(picture, PICTURE).map(|_| ())
}
