"""Recipes on top of the client: each file is one, and its docstring opens with what it guarantees and what it does
not.

Import the one that is wanted: ``from coord.recipes.lock import Lock``, ``from coord.recipes import membership``.
For plain threads the same are in :mod:`coord.recipes.blocking`. Which there are, and what they are called in kazoo
and Curator: ``docs/RECIPES.md``; why they are as they are: ``README.md`` beside this file.
"""
