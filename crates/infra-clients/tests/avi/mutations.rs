//! That the cases notice: with any one rule of the controller's broken, one of them fails.

use avi_simulator::{Rule, Rules};
use futures::StreamExt;
use futures::stream::FuturesUnordered;

use crate::cases::CASES;

#[tokio::test(flavor = "multi_thread")]
async fn each_rule_is_missed() {
    let mut unnoticed = Vec::new();
    for rule in Rule::ALL {
        let mut cases: FuturesUnordered<_> = CASES
            .iter()
            .map(|case| async move { (case.name, case.run(Rules::default().without(*rule)).await) })
            .collect();
        let mut noticed = None;
        while let (None, Some((name, result))) = (&noticed, cases.next().await) {
            noticed = result.err().map(|error| format!("{name}: {error:#}"));
        }
        match noticed {
            Some(noticed) => println!("{rule:?}: {noticed}"),
            None => unnoticed.push(rule),
        }
    }
    assert!(unnoticed.is_empty(), "no case fails without {unnoticed:?}");
}
