"""Numeric kernels: functions of arrays, without ids, stores or settings."""
