"""Long recordings: found in folders, cut at pauses, and written as subtitles."""
