"""``python -m homebody``."""

from homebody.cli import main

if __name__ == "__main__":
    main()
