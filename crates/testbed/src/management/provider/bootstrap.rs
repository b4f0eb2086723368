//! TestbedBootstrapConfig: sets the name of the bootstrap Secret. It creates no Secret, because no machine reads it.

use std::sync::Arc;

use kube::ResourceExt;
use kube::runtime::controller::Action;
use serde_json::json;

use super::{Context, is_deleting};
use crate::management::api::TestbedBootstrapConfig;

/// Reconciles a TestbedBootstrapConfig.
pub(super) async fn reconcile(
    config: Arc<TestbedBootstrapConfig>,
    context: Arc<Context>,
) -> kube::Result<Action> {
    let created = config.status.as_ref().is_some_and(|status| status.initialization.data_secret_created);
    if !created && !is_deleting(config.as_ref()) {
        let status = json!({
            "initialization": {"dataSecretCreated": true},
            "dataSecretName": format!("{}-bootstrap", config.name_any()),
        });
        context.patch_status(config.as_ref(), status).await?;
    }
    Ok(Action::await_change())
}
