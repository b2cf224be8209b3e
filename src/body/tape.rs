//! What has been read of an upload, for those who begin at its start.

use bytes::{Bytes, BytesMut};
use http::HeaderMap;
use http_body::Frame;

/// Frames of less are copied together, so that a cap on bytes bounds the memory however small the frames are; others are
/// kept as they are, uncopied.
const SMALL: usize = 4096;

/// A trailer's own weight beside its name and value, as RFC 9113, section 10.5.1, has it.
const TRAILER: usize = 32;

#[derive(Default)]
pub(super) struct Tape {
    pieces: Vec<Piece>,
    /// Small frames, behind the pieces.
    tail: BytesMut,
    weight: usize,
    length: Length,
}

enum Piece {
    Data(Bytes),
    Trailers(HeaderMap),
}

/// How much of a tape there is, or has been read.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
struct Length {
    data: u64,
    trailers: u64,
}

/// Up to where a reader has come.
#[derive(Default)]
pub(super) struct Position {
    piece: usize,
    offset: usize,
    length: Length,
}

impl Tape {
    /// Keeps a copy of the frame, or says `false` if the tape would be heavier than the cap.
    pub(super) fn record(&mut self, frame: &Frame<Bytes>, cap: usize) -> bool {
        let weight = self.weight.saturating_add(weight(frame));
        if weight > cap {
            return false;
        }
        self.weight = weight;
        if let Some(data) = frame.data_ref() {
            self.length.data += data.len() as u64;
            if self.tail.len() + data.len() >= SMALL {
                self.cut();
            }
            if data.len() < SMALL {
                self.tail.extend_from_slice(data);
            } else {
                self.pieces.push(Piece::Data(data.clone()));
            }
        } else if let Some(trailers) = frame.trailers_ref() {
            self.length.trailers += 1;
            self.cut();
            self.pieces.push(Piece::Trailers(trailers.clone()));
        }
        true
    }

    /// Makes a piece of the tail. Who has come to an offset of the one is at the same offset of the other.
    fn cut(&mut self) {
        if !self.tail.is_empty() {
            self.pieces.push(Piece::Data(self.tail.split().freeze()));
        }
    }

    /// Where the tape ends, for now.
    pub(super) fn end(&self) -> Position {
        Position { piece: self.pieces.len(), offset: self.tail.len(), length: self.length }
    }

    pub(super) fn ends_at(&self, position: &Position) -> bool {
        self.length == position.length
    }

    /// Bytes of data behind this position.
    pub(super) fn rest(&self, position: &Position) -> u64 {
        self.length.data - position.length.data
    }

    /// What comes next, and goes on behind it; `None` at the end.
    pub(super) fn next(&self, position: &mut Position) -> Option<Frame<Bytes>> {
        while let Some(piece) = self.pieces.get(position.piece) {
            let offset = std::mem::take(&mut position.offset);
            position.piece += 1;
            match piece {
                Piece::Data(data) if offset == data.len() => {}
                Piece::Data(data) => return Some(position.passes(data.slice(offset..))),
                Piece::Trailers(trailers) => {
                    position.length.trailers += 1;
                    return Some(Frame::trailers(trailers.clone()));
                }
            }
        }
        let data = &self.tail[position.offset..];
        if data.is_empty() {
            return None;
        }
        position.offset = self.tail.len();
        Some(position.passes(Bytes::copy_from_slice(data)))
    }
}

impl Position {
    fn passes(&mut self, data: Bytes) -> Frame<Bytes> {
        self.length.data += data.len() as u64;
        Frame::data(data)
    }
}

fn weight(frame: &Frame<Bytes>) -> usize {
    let data = frame.data_ref().map_or(0, Bytes::len);
    let trailers = frame.trailers_ref().into_iter().flatten();
    data + trailers.map(|(name, value)| name.as_str().len() + value.len() + TRAILER).sum::<usize>()
}
