"""Migrations of the ratings store, run by alembic."""
