//! The controller's configuration and its rules.
