//! The MQTT broker: listeners, sessions, routing, retained messages, authorisation.
