//! The AVI client against a simulated controller, over the real wire.
