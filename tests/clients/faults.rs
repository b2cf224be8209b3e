//! The faults of the matrix.

use crate::{
    http2::{
        Code::{EnhanceYourCalm, Internal, NoError, RefusedStream},
        Frame::{Close, Data, End, GoAway, Head, Reset as ResetStream},
        Status,
    },
    server::Does::{self, Answer, Http2, Plays},
    upstream::Step::{self, Hang, Reset, Say, Told, Wait},
};
use std::time::Duration;

pub(crate) const ONE: &str = "data: one\n\n";
pub(crate) const BOTH: &str = "data: one\n\ndata: two\n\n";
pub(crate) const HALF: &str = "data: o";
pub(crate) const QUIET: &str = ": alive\n\n";
pub(crate) const QUIET_BOTH: &str = ": alive\n\ndata: one\n\ndata: two\n\n";

/// Six of them are longer than the gap, and longer than an attempt.
const PAUSE: Step = Wait(Duration::from_millis(60));
const OK: Step = Say("HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n");
const CHUNKED: Step = Say("transfer-encoding: chunked\r\n\r\n");
const TO_THE_CLOSE: Step = Say("connection: close\r\n\r\n");
const LENGTH_0: Step = Say("content-length: 0\r\n\r\n");
const LENGTH_11: Step = Say("content-length: 11\r\n\r\n");
const LENGTH_22: Step = Say("content-length: 22\r\n\r\n");
const TWO_LENGTHS: Step = Say("content-length: 22\r\ncontent-length: 11\r\n\r\n");
const SAY_HALF: Step = Say(HALF);
const SAY_ONE: Step = Say(ONE);
const SAY_BOTH: Step = Say(BOTH);
const CHUNK_OF_HALF: Step = Say("7\r\ndata: o\r\n");
const CHUNK_ONE: Step = Say("b\r\ndata: one\n\n\r\n");
const CHUNK_TWO: Step = Say("b\r\ndata: two\n\n\r\n");
const CHUNK_QUIET: Step = Say("9\r\n: alive\n\n\r\n");
const LAST: Step = Say("0\r\n\r\n");

pub(crate) const STREAM: Does = Plays(&[OK, CHUNKED, CHUNK_ONE, CHUNK_TWO, LAST]);
pub(crate) const LENGTH_KNOWN: Does = Plays(&[OK, LENGTH_22, SAY_BOTH]);
pub(crate) const LENGTH_UNKNOWN: Does = Plays(&[OK, TO_THE_CLOSE, SAY_BOTH]);
pub(crate) const EMPTY: Does = Plays(&[OK, LENGTH_0]);
pub(crate) const SLOW: Does = Plays(&[
    PAUSE,
    OK,
    CHUNKED,
    PAUSE,
    CHUNK_ONE,
    PAUSE,
    CHUNK_TWO,
    PAUSE,
    CHUNK_QUIET,
    PAUSE,
    CHUNK_QUIET,
    PAUSE,
    LAST,
]);
pub(crate) const SLOW_SAYS: &str = "data: one\n\ndata: two\n\n: alive\n\n: alive\n\n";
pub(crate) const QUIET_FIRST: Does = Plays(&[OK, CHUNKED, CHUNK_QUIET, CHUNK_ONE, CHUNK_TWO, LAST]);

pub(crate) const CUT_IN_HEAD: Does = Plays(&[OK]);
pub(crate) const STALL_IN_HEAD: Does = Plays(&[OK, Hang]);
pub(crate) const CUT_AT_FIRST_CHUNK: Does = Plays(&[OK, CHUNKED]);
pub(crate) const CUT_AT_FIRST_BYTE: Does = Plays(&[OK, LENGTH_22]);
pub(crate) const CLOSE_AT_FIRST_BYTE: Does = Plays(&[OK, TO_THE_CLOSE]);
pub(crate) const CUT_IN_EVENT: Does = Plays(&[OK, CHUNKED, CHUNK_OF_HALF]);
pub(crate) const CUT_IN_CHUNK: Does = Plays(&[OK, CHUNKED, Say("b\r\ndata: o")]);
pub(crate) const CLOSE_IN_EVENT: Does = Plays(&[OK, TO_THE_CLOSE, SAY_HALF]);
pub(crate) const CUT_AFTER_EVENT: Does = Plays(&[OK, CHUNKED, CHUNK_ONE]);
pub(crate) const CUT_AFTER_QUIET: Does = Plays(&[OK, CHUNKED, CHUNK_QUIET]);
pub(crate) const RESET_AFTER_EVENT: Does = Plays(&[OK, CHUNKED, CHUNK_ONE, Told, Reset]);
pub(crate) const CLOSE_AFTER_EVENT: Does = Plays(&[OK, TO_THE_CLOSE, SAY_ONE]);

pub(crate) const STALL_AT_FIRST_BYTE: Does = Plays(&[OK, CHUNKED, Hang]);
pub(crate) const STALL_IN_EVENT: Does = Plays(&[OK, CHUNKED, CHUNK_OF_HALF, Hang]);
pub(crate) const STALL_AFTER_EVENT: Does = Plays(&[OK, CHUNKED, CHUNK_ONE, Hang]);
pub(crate) const STALL_IN_LENGTH: Does = Plays(&[OK, LENGTH_22, SAY_ONE, Hang]);

pub(crate) const LESS_THAN_LENGTH: Does = Plays(&[OK, LENGTH_22, SAY_ONE]);
pub(crate) const LESS_THAN_LENGTH_IN_EVENT: Does = Plays(&[OK, LENGTH_22, SAY_HALF]);
pub(crate) const MORE_THAN_LENGTH: Does = Plays(&[OK, LENGTH_11, SAY_BOTH]);
pub(crate) const CONTRADICTS_LENGTH: Does = Plays(&[OK, TWO_LENGTHS, SAY_BOTH]);

pub(crate) const ERROR: &str = "event: error\ndata: {}\n\n";
pub(crate) const ERROR_FIRST: Does = Plays(&[OK, TO_THE_CLOSE, Say(ERROR)]);
pub(crate) const QUIET_AND_ERROR: &str = ": alive\n\nevent: error\ndata: {}\n\n";
pub(crate) const ERROR_AFTER_QUIET: Does = Plays(&[OK, TO_THE_CLOSE, Say(QUIET_AND_ERROR)]);
pub(crate) const ONE_AND_ERROR: &str = "data: one\n\nevent: error\ndata: {}\n\n";
pub(crate) const ERROR_LATER: Does = Plays(&[OK, TO_THE_CLOSE, Say(ONE_AND_ERROR)]);
pub(crate) const LIMIT: &str = "data: {\"error\": {\"code\": \"rate_limit_exceeded\"}}\n\n";
pub(crate) const LIMIT_FIRST: Does = Plays(&[OK, TO_THE_CLOSE, Say(LIMIT)]);
pub(crate) const YOURS: &str = "data: {\"error\": {\"type\": \"invalid_request_error\"}}\n\n";
pub(crate) const YOURS_FIRST: Does = Plays(&[OK, TO_THE_CLOSE, Say(YOURS)]);

pub(crate) const TOO_LONG: &str = r#"{"error": {"code": "context_length_exceeded"}}"#;
pub(crate) const SAYS_TOO_LONG: Does = Plays(&[Say("HTTP/1.1 400 Yours\r\ncontent-length: 46\r\n\r\n"), Say(TOO_LONG)]);
pub(crate) const NO_SUCH_PATH: &str = r#"{"error": {"type": "invalid_request_error"}}"#;
pub(crate) const SAYS_NO_SUCH_PATH: Does =
    Plays(&[Say("HTTP/1.1 404 Not found\r\ncontent-length: 44\r\n\r\n"), Say(NO_SUCH_PATH)]);
pub(crate) const ERROR_STALLS: Does = Plays(&[Say("HTTP/1.1 500 Oh\r\ncontent-length: 46\r\n\r\n{"), Hang]);
pub(crate) const ERROR_CUT: Does = Plays(&[Say("HTTP/1.1 500 Oh\r\ncontent-length: 46\r\n\r\n{")]);

pub(crate) const SAYS_500: Does = Answer("500 Oh");
pub(crate) const SAYS_502: Does = Answer("502 Oh");
pub(crate) const SAYS_429: Does = Answer("429 Slow");
pub(crate) const SAYS_429_SECONDS: Does = Answer("429 Slow\r\nretry-after: 7");
pub(crate) const SAYS_429_MILLISECONDS: Does = Answer("429 Slow\r\nretry-after-ms: 7000");
pub(crate) const SAYS_429_IMF: Does =
    Answer("429 Slow\r\ndate: Sun, 06 Nov 1994 08:49:37 GMT\r\nretry-after: Sun, 06 Nov 1994 08:49:44 GMT");
pub(crate) const SAYS_429_RFC_850: Does =
    Answer("429 Slow\r\ndate: Sun, 06 Nov 1994 08:49:37 GMT\r\nretry-after: Sunday, 06-Nov-94 08:49:44 GMT");
pub(crate) const SAYS_429_ASCTIME: Does =
    Answer("429 Slow\r\ndate: Sun, 06 Nov 1994 08:49:37 GMT\r\nretry-after: Sun Nov  6 08:49:44 1994");
pub(crate) const SAYS_404: Does = Answer("404 No such model");
pub(crate) const SAYS_400: Does = Answer("400 Yours");
pub(crate) const SAYS_302: Does = Answer("302 Elsewhere\r\nlocation: /");

const H2_OK: crate::http2::Frame = Head(Status::Ok);

pub(crate) const H2_STREAM: Does = Http2(&[H2_OK, Data(ONE), Data("data: two\n\n"), End]);
pub(crate) const H2_500: Does = Http2(&[Head(Status::Bad), Data("hello"), End]);
pub(crate) const H2_HANG: Does = Http2(&[]);
pub(crate) const H2_CLOSE: Does = Http2(&[Close]);
pub(crate) const H2_RESET: Does = Http2(&[ResetStream(Internal)]);
pub(crate) const H2_REFUSED: Does = Http2(&[ResetStream(RefusedStream)]);
pub(crate) const H2_GOAWAY: Does = Http2(&[GoAway(0, NoError), Close]);
pub(crate) const H2_GOAWAY_CALM: Does = Http2(&[GoAway(0, EnhanceYourCalm), Close]);
pub(crate) const H2_GOAWAY_AND_STREAM: Does =
    Http2(&[GoAway(1, NoError), H2_OK, Data(ONE), Data("data: two\n\n"), End]);
pub(crate) const H2_EMPTY: Does = Http2(&[H2_OK, End]);
pub(crate) const H2_RESET_AFTER_HEAD: Does = Http2(&[H2_OK, ResetStream(Internal)]);
pub(crate) const H2_RESET_IN_EVENT: Does = Http2(&[H2_OK, Data(HALF), ResetStream(Internal)]);
pub(crate) const H2_RESET_AFTER_EVENT: Does = Http2(&[H2_OK, Data(ONE), ResetStream(Internal)]);
pub(crate) const H2_STOP_IN_EVENT: Does = Http2(&[H2_OK, Data(HALF), ResetStream(NoError)]);
pub(crate) const H2_STOP_AFTER_EVENT: Does = Http2(&[H2_OK, Data(ONE), ResetStream(NoError)]);
pub(crate) const H2_GOAWAY_AFTER_HEAD: Does = Http2(&[H2_OK, GoAway(1, Internal), Close]);
pub(crate) const H2_GOAWAY_AFTER_EVENT: Does = Http2(&[H2_OK, Data(ONE), GoAway(1, Internal), Close]);
pub(crate) const H2_GOAWAY_SOFTLY_AFTER_EVENT: Does = Http2(&[H2_OK, Data(ONE), GoAway(1, NoError), Close]);
pub(crate) const H2_CUT_AFTER_EVENT: Does = Http2(&[H2_OK, Data(ONE), Close]);
pub(crate) const H2_STALL_AFTER_HEAD: Does = Http2(&[H2_OK]);
pub(crate) const H2_STALL_AFTER_EVENT: Does = Http2(&[H2_OK, Data(ONE)]);
