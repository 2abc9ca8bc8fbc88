"""Proxies that hand requests on: named ones, and the step kinds that turn requests away or elsewhere."""

from bot.integrations.traffic.act import Shed, Shift
from bot.integrations.traffic.target import Target

__all__ = ["Shed", "Shift", "Target"]
