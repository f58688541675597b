//! Durable state: typed, versioned rows in redb behind one group-committing writer.
