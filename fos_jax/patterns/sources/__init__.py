"""Readers of annotated photographs, behind one interface (`fos_jax.patterns.records.PhotographSource`)."""
