//! What every store must do, as checks that run against any adapter.
