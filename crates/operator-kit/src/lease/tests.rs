use super::*;

const CLOCK: Timestamp = Timestamp::UNIX_EPOCH;

fn record(holder: &str, seconds: i32, transitions: i32, since: Instant) -> Observed {
    let spec = LeaseSpec {
        holder_identity: Some(holder.to_owned()),
        lease_duration_seconds: Some(seconds),
        acquire_time: Some(MicroTime(Timestamp::from_second(7).unwrap())),
        lease_transitions: Some(transitions),
        ..LeaseSpec::default()
    };
    Observed { lease: Lease { spec: Some(spec), ..Lease::default() }, since }
}

fn next(observed: &Observed, now: Instant) -> Option<LeaseSpec> {
    next_spec("me", Timing::default(), Some(observed), now, CLOCK)
}

#[test]
fn a_new_record_starts_at_zero() {
    let spec = next_spec("me", Timing::default(), None, Instant::now(), CLOCK).unwrap();
    assert_eq!(spec.holder_identity.as_deref(), Some("me"));
    assert_eq!((spec.lease_duration_seconds, spec.lease_transitions), (Some(15), Some(0)));
}

#[test]
fn anothers_record_stands_for_its_own_duration_since_it_changed() {
    let since = Instant::now();
    let other = record("other", 30, 4, since);
    assert_eq!(next(&other, since + Duration::from_secs(29)), None);
    let spec = next(&other, since + Duration::from_secs(30)).unwrap();
    assert_eq!(spec.lease_transitions, Some(5));
    assert_eq!(spec.acquire_time, Some(MicroTime(CLOCK)));
}

#[test]
fn a_released_record_is_free_at_once() {
    let since = Instant::now();
    assert_eq!(next(&record("", 1, 4, since), since).unwrap().lease_transitions, Some(5));
}

#[test]
fn renewing_keeps_the_time_of_acquisition() {
    let since = Instant::now();
    let spec = next(&record("me", 15, 4, since), since + Duration::from_mins(1)).unwrap();
    assert_eq!(spec.lease_transitions, Some(4));
    assert_eq!(spec.acquire_time, Some(MicroTime(Timestamp::from_second(7).unwrap())));
    assert_eq!(spec.renew_time, Some(MicroTime(CLOCK)));
}

#[test]
fn the_right_to_write_ends_with_the_age_of_the_renewal() {
    let (epoch, second) = (Instant::now(), Duration::from_secs(1));
    let held =
        Held { epoch, renewed: AtomicU64::new(0), deadline: 10 * second, lost: CancellationToken::new() };
    assert!(held.stands(epoch + 9 * second));
    assert!(!held.stands(epoch + 10 * second));
    held.renew(epoch + 9 * second);
    assert!(held.stands(epoch + 18 * second));
    assert!(!held.stands(epoch + 19 * second));
    held.lost.cancel();
    assert!(!held.stands(epoch + 9 * second));
    assert!(Leadership::always().check().is_ok());
}

/// The message names the variable and the flag that the command line has.
#[test]
fn a_missing_namespace_is_answered_with_the_setting() {
    use clap::Args as _;
    let command = crate::args::CommonArgs::augment_args(clap::Command::new("op"));
    let flag = command.get_arguments().find(|flag| flag.get_id() == "leader_election_namespace").unwrap();
    let (variable, long) = (flag.get_env().unwrap().to_str().unwrap(), flag.get_long().unwrap());
    let answer = kube::core::Status::failure("namespaces \"none\" not found", "NotFound").with_code(404);
    let message = Failed::from(kube::Error::Api(answer.boxed())).to_string();
    assert!(message.ends_with(&format!("with {variable} (--{long})")), "{message}");
}
