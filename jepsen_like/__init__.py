"""How coord earns trust: a simulator, exhaustive scopes, live torture, checkers, seeded bugs. See README.md."""
