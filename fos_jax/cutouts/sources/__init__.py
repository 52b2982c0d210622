"""Readers of annotated photographs, behind one interface (`fos_jax.cutouts.records.PhotographSource`)."""
