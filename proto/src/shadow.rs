//! Documents of the device shadow.
