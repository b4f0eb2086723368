//! The query parser with 100,000 random queries.

use avi_simulator::store::Query;

use crate::rig::Rig;

/// A linear congruential generator: fast, with the same cases in each run.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % sides
    }

    fn pick<'a, T>(&mut self, of: &'a [T]) -> &'a T {
        &of[self.roll(of.len())]
    }
}

const PARAMETERS: &[&str] = &[
    "name",
    "name.in",
    "cloud_ref.name",
    "label_key",
    "fields",
    "sort",
    "include_name",
    "refers_to",
    "referred_by",
    "page",
    "page_size",
    "created_by",
    "uuid",
];

const PIECES: &[&str] = &[
    "name",
    "name.in",
    "name.contains",
    "cloud_ref.name",
    "cloud_ref.uuid",
    "created_by",
    "label_key",
    "label_value",
    "fields",
    "sort",
    "include_name",
    "skip_default",
    "refers_to",
    "referred_by",
    "join_subresources",
    "page",
    "page_size",
    "include_service_accounts",
    "cloud_uuid",
    "uuid",
    "=",
    "=",
    "=",
    "&",
    "&",
    "&",
    "?",
    "%",
    "%2",
    "%ff",
    "%00",
    "%F0%9F%92%A9",
    "+",
    "-",
    ",",
    ":",
    ".",
    "..",
    "pool:pool-1",
    "0",
    "1",
    "200",
    "-1",
    "18446744073709551616",
    "é",
    "\u{0}",
    "#",
    "/",
    "[]",
    "{}",
    "\"",
    "a_ref.name",
    "a.b.c",
    "_ref.name",
    "true",
    "\n",
    " ",
    "💩",
];

#[test]
fn no_query_panics_and_none_breaks_a_list() {
    let rig = Rig::new();
    let mut dice = Dice(4);
    let (mut parsed, mut refused) = (0_u32, 0_u32);
    for case in 0..100_000 {
        let raw: String = if case % 4 == 0 {
            (0..dice.roll(24))
                .map(|_| char::from_u32(u32::try_from(dice.roll(0x3000)).unwrap()).unwrap_or('%'))
                .collect()
        } else if case % 4 == 1 {
            (0..dice.roll(14)).map(|_| *dice.pick(PIECES)).collect()
        } else {
            // Well-formed pairs of known parameters with random values.
            let pair = |dice: &mut Dice| {
                format!("{}={}{}", dice.pick(PARAMETERS), dice.pick(PIECES), dice.pick(PIECES))
            };
            (0..dice.roll(5)).map(|_| pair(&mut dice)).collect::<Vec<_>>().join("&")
        };
        match Query::parse(&raw) {
            Ok(query) => {
                parsed += 1;
                let again = Query::parse(&query.at_page(query.page));
                assert_eq!(
                    again.as_ref(),
                    Ok(&query),
                    "{raw:?} changes in `next`: {}",
                    query.at_page(query.page)
                );
                if case % 10 == 0 {
                    let listed = rig.store.list(&rig.caller, "tenant", &query);
                    assert!(listed.is_ok_and(|list| list["count"].is_u64()) || query.page > 1, "{raw:?}");
                }
            }
            Err(error) => {
                refused += 1;
                assert_eq!(error.status, 400, "{raw:?}");
            }
        }
    }
    assert!(
        parsed > 50_000 && refused > 5_000,
        "{parsed} parsed, {refused} refused: change PIECES so that more of both occur"
    );
}
