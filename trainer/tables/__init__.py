"""Learned tables: noise levels and coefficients with which few steps end where a teacher's steps end."""
