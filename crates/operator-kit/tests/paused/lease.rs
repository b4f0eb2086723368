//! Leader election over hours of paused time, with links that are cut at random.

use std::{sync::Arc, time::Duration};

use jiff::Timestamp;
use operator_kit::{
    Clock,
    lease::{Candidate, Leadership, Timing},
};
use proptest::prelude::*;
use tokio::{sync::Mutex, time::Instant};

use crate::api::{Link, Server};

const SECOND: Duration = Duration::from_secs(1);
/// How often it is checked that no two lead.
const STEP: Duration = Duration::from_millis(250);

/// A replica: waits for the Lease, leads, and waits again when it is lost, as a Pod that is restarted.
struct Replica {
    link: Link,
    leads: Arc<Mutex<Option<Leadership>>>,
}

impl Replica {
    fn start(server: &Server, number: usize, latency: Duration) -> Self {
        let (link, leads) = (Link::default(), Arc::new(Mutex::new(None)));
        let replica = Self { link: link.clone(), leads: Arc::clone(&leads) };
        let (client, clock) = (server.client(latency, link), Clock::starting_at(Timestamp::UNIX_EPOCH));
        tokio::spawn(async move {
            for life in 0.. {
                let identity = format!("replica-{number}-{life}");
                let candidate =
                    Candidate::new(client.clone(), "default", "lead", identity, Timing::default());
                let leadership = candidate.with_clock(clock).acquire().await;
                *leads.lock().await = Some(leadership.clone());
                leadership.lost().await;
                *leads.lock().await = None;
            }
        });
        replica
    }

    async fn may_write(&self) -> bool {
        self.leads.lock().await.as_ref().is_some_and(|leadership| leadership.check().is_ok())
    }
}

async fn writers(replicas: &[Replica]) -> usize {
    let mut writers = 0;
    for replica in replicas {
        writers += usize::from(replica.may_write().await);
    }
    writers
}

#[tokio::test(start_paused = true)]
async fn an_undisturbed_leader_leads_for_two_hours() {
    let server = Server::default();
    let replicas = [0, 1].map(|number| Replica::start(&server, number, STEP / 2));
    tokio::time::sleep(5 * SECOND).await;
    let first = replicas[0].may_write().await;
    for _ in 0..120 {
        tokio::time::sleep(60 * SECOND).await;
        assert!(replicas[0].may_write().await == first && writers(&replicas).await == 1);
    }
}

#[tokio::test(start_paused = true)]
async fn a_leader_that_is_cut_off_stops_after_ten_seconds_and_another_leads_within_twenty() {
    let server = Server::default();
    let replicas = [0, 1].map(|number| Replica::start(&server, number, Duration::ZERO));
    tokio::time::sleep(5 * SECOND).await;
    let leader = usize::from(!replicas[0].may_write().await);
    let cut = Instant::now();
    replicas[leader].link.cut_until(cut + 3600 * SECOND);
    while replicas[leader].may_write().await {
        tokio::time::sleep(STEP).await;
    }
    let stopped = cut.elapsed();
    assert!(stopped <= 10 * SECOND + STEP && stopped > 7 * SECOND, "{stopped:?}");
    while writers(&replicas).await == 0 {
        tokio::time::sleep(STEP).await;
    }
    let taken = cut.elapsed();
    assert!(replicas[1 - leader].may_write().await);
    assert!(taken <= 20 * SECOND && taken > 12 * SECOND, "{taken:?}");
}

/// The watches of a replica wait for versions that the API server has yet to reach: each process ends, and starts again.
#[tokio::test(start_paused = true)]
async fn a_restored_api_server_ends_the_leader_and_the_standby() {
    let server = Server::default();
    let lead = |identity: &str| {
        let client = server.client(Duration::ZERO, Link::default());
        Candidate::new(client, "default", "lead", identity.to_owned(), Timing::default()).acquire()
    };
    let leader = lead("first").await;
    let standby = tokio::spawn(lead("second"));
    tokio::time::sleep(60 * SECOND).await;
    assert!(leader.check().is_ok() && !standby.is_finished());
    server.restore();
    tokio::time::timeout(5 * SECOND, leader.lost()).await.unwrap();
    let standby = tokio::time::timeout(5 * SECOND, standby).await.unwrap().unwrap();
    tokio::time::timeout(SECOND, standby.lost()).await.unwrap();
    assert!(standby.check().is_err());
    let next = tokio::time::timeout(20 * SECOND, lead("third")).await.unwrap();
    assert!(next.check().is_ok(), "the next process leads");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, ..ProptestConfig::default() })]

    /// Whatever links are cut, and for however long, no two replicas may write at a time; and half a minute after the last
    /// cut one may.
    #[test]
    fn no_two_lead_at_a_time(
        latency in 0u64..1500,
        cuts in prop::collection::vec((0usize..3, 0u64..40, 1u64..40), 1..12),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
        runtime.block_on(async {
            let server = Server::default();
            let replicas = [0, 1, 2].map(|number| Replica::start(&server, number, Duration::from_millis(latency)));
            for (number, pause, length) in cuts {
                for _ in 0..pause * 4 {
                    tokio::time::sleep(STEP).await;
                    assert!(writers(&replicas).await <= 1, "two may write");
                }
                replicas[number].link.cut_until(Instant::now() + u32::try_from(length).unwrap() * SECOND);
            }
            for _ in 0..480 {
                tokio::time::sleep(STEP).await;
                assert!(writers(&replicas).await <= 1, "two may write");
            }
            assert_eq!(writers(&replicas).await, 1, "no replica leads");
        });
    }
}
