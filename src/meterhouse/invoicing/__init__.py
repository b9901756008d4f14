"""Invoices on their way: what is due, what goes on an invoice, and what becomes of it."""
