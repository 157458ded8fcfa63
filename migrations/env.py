"""What Alembic runs for every command: over the connection it was lent, or as text when it was lent none."""

from alembic import context

from migrations import SCHEMA

context.configure(
    connection=context.config.attributes["connection"],
    dialect_name="postgresql",
    version_table_schema=SCHEMA,
)
with context.begin_transaction():
    context.run_migrations()
