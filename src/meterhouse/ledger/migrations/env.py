"""Alembic runs this file to learn where the migrations go: the connection that it was handed."""

from alembic import context

context.configure(
    connection=context.config.attributes["connection"],
    transactional_ddl=True,  # on both databases a failed step leaves no trace
)
context.run_migrations()
