"""The tiny models of the sample profile, and the scripts that train them from the npm emoji packages."""
