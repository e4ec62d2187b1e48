"""Tests of nsqx."""
