//! Southbound protocols behind one small port.
