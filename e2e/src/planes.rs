//! The planes of many rigs, some of which run at the same time: a rig that ends leaves its planes to the next one.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use anyhow::Result;
use testbed::ControlPlane;

use crate::install::{Plane, Subject};

/// The planes of rigs of one operator. They stop when this is dropped.
#[derive(Debug, Default)]
pub struct Planes {
    /// With the operator in them.
    rigs: Mutex<Vec<Arc<Plane>>>,
    /// Of workload clusters.
    guests: Mutex<Vec<Arc<Plane>>>,
}

/// The planes of this process's tests, while one of them uses one.
static OF_TESTS: Mutex<Weak<Planes>> = Mutex::new(Weak::new());

impl Planes {
    /// Returns the planes of this process's tests.
    #[must_use]
    pub(crate) fn of_tests() -> Arc<Self> {
        let mut of_tests = OF_TESTS.lock().unwrap_or_else(PoisonError::into_inner);
        of_tests.upgrade().unwrap_or_else(|| {
            let planes = Arc::default();
            *of_tests = Arc::downgrade(&planes);
            planes
        })
    }

    /// Returns a plane for a rig of this operator: the shared one, or, if each of its rigs needs one, one that no rig uses any more, or a
    /// new one.
    ///
    /// # Errors
    /// Those of [`Plane::start`].
    pub async fn take(&self, subject: &Subject) -> Result<Arc<Plane>> {
        if !subject.needs_own_plane() {
            let plane = Plane::shared().await?;
            let mut planes = lock(&self.rigs);
            if !planes.iter().any(|other| Arc::ptr_eq(other, &plane)) {
                planes.push(Arc::clone(&plane));
            }
            return Ok(plane);
        }
        take(&self.rigs, async || Plane::of(subject).await).await
    }

    /// Returns a plane for a workload cluster, without the operator: one that no workload cluster uses any more, or a new one.
    ///
    /// # Errors
    /// Those of [`Plane::start`].
    pub(crate) async fn take_guest(&self) -> Result<Arc<Plane>> {
        let start = async || {
            let plane = Plane::start(ControlPlane::builder().all_controllers(true)).await?;
            plane.note_baseline().await?;
            Ok(Arc::new(plane))
        };
        take(&self.guests, start).await
    }

    /// Forgets a plane, so that it stops with the rig that uses it.
    pub(crate) fn discard(&self, plane: &Arc<Plane>) {
        for planes in [&self.rigs, &self.guests] {
            lock(planes).retain(|other| !Arc::ptr_eq(other, plane));
        }
    }
}

/// Returns a plane that is free, as it was at the beginning, or a new one.
async fn take(
    planes: &Mutex<Vec<Arc<Plane>>>,
    start: impl AsyncFn() -> Result<Arc<Plane>>,
) -> Result<Arc<Plane>> {
    loop {
        let free = lock(planes).iter().find(|plane| plane.is_free()).cloned();
        let Some(plane) = free else { break };
        match plane.go_back().await {
            Ok(()) => return Ok(plane),
            Err(error) => {
                println!("a plane is not used again: {error:#}");
                lock(planes).retain(|other| !Arc::ptr_eq(other, &plane));
            }
        }
    }
    // Those of failed runs.
    lock(planes).retain(|plane| Arc::strong_count(plane) > 1 || plane.is_free());
    let plane = start().await?;
    lock(planes).push(Arc::clone(&plane));
    Ok(plane)
}

fn lock(planes: &Mutex<Vec<Arc<Plane>>>) -> MutexGuard<'_, Vec<Arc<Plane>>> {
    planes.lock().unwrap_or_else(PoisonError::into_inner)
}
