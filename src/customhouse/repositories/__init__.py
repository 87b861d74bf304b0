"""Repositories as people see them: who may look at which, and who may let go of one."""
