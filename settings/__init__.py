"""What a stack's file asks for, checked as a whole before anything is created."""

from settings.model import Settings
from settings.reading import Place, WrongSettings, load, parse

__all__ = ["Place", "Settings", "WrongSettings", "load", "parse"]
