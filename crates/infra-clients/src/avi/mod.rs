//! The AVI controller.
