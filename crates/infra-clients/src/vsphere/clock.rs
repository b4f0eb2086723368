//! The clock of the vCenter, which may be wrong by hours.

use std::time::SystemTime;

use jiff::{SignedDuration, Timestamp};

use super::error::{Error, Kind};
use super::moref::MoRef;
use super::session::Core;
use super::soap::Call;
use super::xml;

/// Returns how far the clock of the vCenter is ahead of this machine's; negative: behind.
pub(super) async fn ahead(core: &Core) -> Result<SignedDuration, Error> {
    let this = MoRef::new("ServiceInstance", "ServiceInstance");
    let call = Call::new("CurrentTime", &this);
    let before = Timestamp::now();
    let answer = core.call(&call).await?;
    let took = before.duration_until(Timestamp::now());
    let time = xml::first(&answer, "returnval").map_err(|error| call.not_understood(error))?;
    let time: Timestamp = time
        .and_then(|time| time.text.parse().ok())
        .ok_or_else(|| call.not_understood(Error::new(Kind::Protocol, "the answer holds no time")))?;
    // It was read somewhere between.
    Ok(before.duration_until(time) - took / 2)
}

/// Returns the later of what the vCenter's clock shows, which is so far ahead, and of the local time of then.
pub(super) fn later(shown: SystemTime, ahead: SignedDuration) -> SystemTime {
    let local = Timestamp::try_from(shown).ok().and_then(|shown| shown.checked_sub(ahead).ok());
    local.map_or(shown, |local| shown.max(local.into()))
}
