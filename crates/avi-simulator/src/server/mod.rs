//! HTTPS, sessions, accounts, permissions, faults and counters.
