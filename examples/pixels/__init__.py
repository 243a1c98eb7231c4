"""Joints in pictures: drawn people, a heatmap network, and four ways to average its answers to both views."""
