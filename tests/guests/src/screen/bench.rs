//! What `benches/screen` measures.
