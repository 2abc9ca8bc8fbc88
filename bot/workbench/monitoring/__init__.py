"""The real Prometheus and Alertmanager over the simulated fleet, with a rule file of short windows."""

from bot.workbench.monitoring.supervise import APT_LINE, Monitoring, MonitoringConfig

__all__ = ["APT_LINE", "Monitoring", "MonitoringConfig"]
