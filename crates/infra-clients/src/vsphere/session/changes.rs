//! Calls that change something: sent at once or not at all.

use std::time::Duration;

use super::{Core, closed};
use crate::vsphere::soap::Call;
use crate::vsphere::{Error, Kind, MoRef};

/// How long a change waits for a place among the calls.
const PLACE: Duration = Duration::from_secs(10);

impl Core {
    /// Makes a call that changes something within the limit on calls, and reads the reference in its answer. It is sent in the session that
    /// there is now or not at all, since what the caller decided on may have changed when a login ends.
    ///
    /// # Errors
    ///
    /// [`Error::is_unsent`] if the session had ended: there is another one then. [`Kind::Busy`] if no place among the calls is free.
    pub(in crate::vsphere) async fn change(&self, call: &Call<'_>) -> Result<MoRef, Error> {
        self.check_open()?;
        let place = tokio::time::timeout(PLACE, self.calls.acquire()).await;
        let _permit = place.map_err(|_| call.failed(self.no_place()))?.map_err(|_| closed())?;
        let epoch = *self.epoch.borrow();
        let result =
            if self.has_session() { self.send_for_moref(call).await } else { Err(Error::session_lost()) };
        match &result {
            Err(error) if error.is_session_lost() => {
                self.renew(epoch).await?;
                // Else the session lives, and the vCenter refuses the call all the same.
                if *self.epoch.borrow() != epoch {
                    return Err(call.failed(Error::unsent()));
                }
            }
            Err(_) => {}
            Ok(_) => self.touch(),
        }
        result
    }

    fn no_place(&self) -> Error {
        let message = format!("not sent: {} other calls wait for the vCenter", self.config.concurrency);
        Error::new(Kind::Busy, message)
    }
}
