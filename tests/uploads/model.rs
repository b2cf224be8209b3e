//! The body beside a slow, obvious model: random frames, caps, and readers that read, begin and go at random.

use crate::source::{Item, Reader, Tap, data, trailers};
use http_body::Body;
use proptest::{collection::vec, prelude::*};
use std::task::{Poll, Wake};
use tower_failover::{ReplayBody, ReplayError};

#[derive(Debug, Clone)]
enum Step {
    LetOut,
    Read(usize),
    Again(usize),
    Drop(usize),
}

#[derive(Debug, Clone, PartialEq)]
enum Fate {
    Whole,
    /// For the reader of this number alone.
    Only(usize),
    Failed,
}

/// What a reader has had.
struct Had {
    number: usize,
    data: usize,
    trailers: usize,
    over: bool,
    /// Whether its last poll found nothing.
    waits: bool,
    reader: Reader,
}

struct World {
    items: Vec<Item>,
    says: bool,
    cap: usize,
    tap: Tap,
    out: usize,
    closed: bool,
    /// How many items have been taken from the source, and whether its end is known.
    taken: usize,
    ended: bool,
    fate: Fate,
    readers: Vec<Had>,
    begun: usize,
}

fn bytes(items: &[Item]) -> Vec<u8> {
    let data = items.iter().filter_map(|item| if let Item::Data(data) = item { Some(&data[..]) } else { None });
    data.collect::<Vec<_>>().concat()
}

fn trailers_in(items: &[Item]) -> usize {
    items.iter().filter(|item| matches!(item, Item::Trailers(_))).count()
}

fn weight(items: &[Item]) -> usize {
    let weights = items.iter().map(|item| match item {
        Item::Data(data) => data.len(),
        Item::Trailers(value) => "x-checksum".len() + value.len() + 32,
        Item::Fails | Item::Panics => 0,
    });
    weights.sum()
}

impl World {
    fn new(items: Vec<Item>, says: bool, cap: usize) -> Self {
        let (tap, source) = Tap::new(items.clone(), says);
        let reader = Reader::new(ReplayBody::new(source, cap));
        let ended = says && items.is_empty();
        let mut world = Self {
            items,
            says,
            cap,
            tap,
            out: 0,
            closed: false,
            taken: 0,
            ended,
            fate: Fate::Whole,
            readers: vec![],
            begun: 0,
        };
        world.begins(reader);
        world
    }

    fn begins(&mut self, reader: Reader) {
        self.readers.push(Had { number: self.begun, data: 0, trailers: 0, over: false, waits: false, reader });
        self.begun += 1;
    }

    fn step(&mut self, step: Step) {
        let readers = self.readers.len();
        match step {
            Step::LetOut => {
                self.tap.let_out();
                self.closed |= self.out == self.items.len();
                self.out = (self.out + 1).min(self.items.len());
            }
            Step::Read(reader) if readers > 0 => self.read(reader % readers),
            Step::Again(reader) if readers > 0 => {
                let reader = self.readers[reader % readers].reader.again();
                self.begins(reader);
            }
            Step::Drop(reader) if readers > 0 => {
                self.readers.swap_remove(reader % readers);
            }
            _ => {}
        }
        self.readers.iter().for_each(|had| self.check(had));
    }

    /// Polls one reader, and compares what it gets to what it should.
    fn read(&mut self, index: usize) {
        let had = &mut self.readers[index];
        had.reader.bell.take();
        let polled = had.reader.poll();
        had.waits = polled.is_pending();
        if had.over {
            assert!(matches!(polled, Poll::Ready(None)), "{polled:?}");
            return;
        }
        match &self.fate {
            Fate::Failed => {
                assert!(matches!(polled, Poll::Ready(Some(Err(ReplayError::Upload(_))))), "{polled:?}");
                had.over = true;
                return;
            }
            Fate::Only(only) if *only != had.number => {
                assert!(matches!(polled, Poll::Ready(Some(Err(ReplayError::PastCap(cap)))) if cap == self.cap));
                had.over = true;
                return;
            }
            _ => {}
        }
        let taken = &self.items[..self.taken];
        let (recorded, kept) = (bytes(taken), trailers_in(taken));
        if self.fate == Fate::Whole && (had.data, had.trailers) != (recorded.len(), kept) {
            let Poll::Ready(Some(Ok(frame))) = polled else { panic!("{polled:?}, though more is recorded") };
            match frame.into_data() {
                Ok(data) => {
                    assert!(!data.is_empty() && recorded[had.data..].starts_with(&data));
                    had.data += data.len();
                }
                Err(frame) => {
                    assert_eq!(had.data, recorded.len(), "trailers come last");
                    assert_eq!(frame.into_trailers().expect("trailers"), trailers("42"));
                    had.trailers += 1;
                }
            }
            return;
        }
        if self.ended {
            assert!(matches!(polled, Poll::Ready(None)), "{polled:?}");
            return;
        }
        if self.taken == self.out {
            if self.closed {
                assert!(matches!(polled, Poll::Ready(None)), "{polled:?}");
                self.ended = true;
            } else {
                assert!(polled.is_pending(), "{polled:?}");
            }
            return;
        }
        let item = self.items[self.taken].clone();
        self.taken += 1;
        if matches!(item, Item::Fails) {
            assert!(matches!(polled, Poll::Ready(Some(Err(ReplayError::Upload(_))))), "{polled:?}");
            (self.fate, self.ended, had.over) = (Fate::Failed, true, true);
            return;
        }
        let Poll::Ready(Some(Ok(frame))) = polled else { panic!("{polled:?}, though a frame is out") };
        match item {
            Item::Data(data) => {
                assert_eq!(frame.into_data().expect("data"), data);
                had.data += data.len();
            }
            _ => {
                assert_eq!(frame.into_trailers().expect("trailers"), trailers("42"));
                had.trailers += 1;
            }
        }
        let room = if self.says && bytes(&self.items).len() > self.cap { 0 } else { self.cap };
        if self.fate == Fate::Whole && weight(&self.items[..self.taken]) > room {
            self.fate = Fate::Only(had.number);
        }
        self.ended = self.says && self.taken == self.items.len();
    }

    /// Hints and ends are exact.
    fn check(&self, had: &Had) {
        let body = &had.reader.body;
        assert_eq!(body.is_whole(), self.fate == Fate::Whole);
        let may_read = match self.fate {
            Fate::Whole => true,
            Fate::Only(only) => only == had.number,
            Fate::Failed => false,
        };
        let at_end = (had.data, had.trailers) == (bytes(&self.items).len(), trailers_in(&self.items));
        assert_eq!(body.is_end_stream(), had.over || (may_read && self.ended && at_end));
        let hint = body.size_hint();
        if !may_read {
            assert_eq!((hint.lower(), hint.upper()), (0, None));
            return;
        }
        let taken = match self.fate {
            Fate::Whole => bytes(&self.items[..self.taken]).len(),
            _ => had.data,
        };
        let rest = if self.says || self.ended { Some(bytes(&self.items[self.taken..]).len()) } else { None };
        let recorded = taken - had.data;
        assert_eq!(hint.upper(), rest.map(|rest| (recorded + rest) as u64));
        assert_eq!(hint.lower(), (recorded + rest.unwrap_or(0)) as u64);
    }

    fn at_end(&self, had: &Had) -> bool {
        (had.data, had.trailers) == (bytes(&self.items).len(), trailers_in(&self.items))
    }

    /// Lets everything out. In the end all must have come to theirs.
    fn finish(&mut self) {
        self.settle();
        for _ in 0..=self.items.len() {
            self.step(Step::LetOut);
            self.settle();
        }
        for had in &self.readers {
            let had_all = self.at_end(had) && self.ended;
            assert!(had.over || had_all, "reader {} sleeps at {} bytes, {:?}", had.number, had.data, self.fate);
        }
    }

    /// Runs whoever is woken, and nobody else, until everyone waits or is at the end.
    fn settle(&mut self) {
        while let Some(index) = self.readers.iter().position(|had| had.reader.bell.has_rung()) {
            loop {
                let before = (self.readers[index].data, self.readers[index].trailers, self.taken);
                self.read(index);
                let had = &self.readers[index];
                if had.over || (had.data, had.trailers, self.taken) == before {
                    break;
                }
            }
        }
    }
}

fn items() -> impl Strategy<Value = Vec<Item>> {
    let length = prop_oneof![Just(0), 1..20_usize, 4094..4099_usize, Just(9000)];
    let end = prop_oneof![Just(None), Just(Some(Item::Trailers("42"))), Just(Some(Item::Fails))];
    (vec(length.prop_map(data), 0..12), end).prop_map(|(mut items, end)| {
        items.extend(end);
        items
    })
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => Just(Step::LetOut),
        6 => any::<usize>().prop_map(Step::Read),
        2 => any::<usize>().prop_map(Step::Again),
        1 => any::<usize>().prop_map(Step::Drop),
    ]
}

/// A cap far from what there is, or to the byte: so much below or above.
fn cap(near: Option<i64>, far: usize, items: &[Item]) -> usize {
    near.map_or(far, |near| usize::try_from(weight(items) as i64 + near).unwrap_or(0))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_reader_gets_what_the_model_says_and_nobody_sleeps_forever(
        items in items(),
        says in any::<bool>(),
        near in proptest::option::of(-2..3_i64),
        far in prop_oneof![Just(0), 1..50_usize, 4000..40_000_usize],
        steps in vec(step(), 0..80),
    ) {
        let cap = cap(near, far, &items);
        let mut world = World::new(items, says, cap);
        for step in steps {
            world.step(step);
        }
        // Whoever has never waited, as a task that has just been spawned.
        for had in world.readers.iter().filter(|had| !had.waits) {
            had.reader.bell.clone().wake();
        }
        world.finish();
    }
}
