//! Black-box tests against the built binary, and the house rules as tests.
