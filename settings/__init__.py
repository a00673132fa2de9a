"""What a stack's file asks for, checked as a whole before anything is created."""

from settings.model import Settings
from settings.reading import WrongSettings, load, parse, where

__all__ = ["Settings", "WrongSettings", "load", "parse", "where"]
