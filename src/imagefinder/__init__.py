"""Find images by image: which of mine is this, how sure are you, and why?"""
