"""``python -m coord`` is the ``coord`` command."""

from coord.cli import main

if __name__ == "__main__":
    main()
