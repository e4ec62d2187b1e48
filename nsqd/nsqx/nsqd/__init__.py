"""nsqd"""
