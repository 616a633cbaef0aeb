"""Melascope: from labelled skin-lesion photographs to a melanoma detector that can be trusted."""
