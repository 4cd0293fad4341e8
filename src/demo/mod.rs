//! Throwaway PostgreSQL clusters: the demo and the tests start theirs here.
