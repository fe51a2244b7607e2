"""What the deployments are called: a list of them shows the names first, so each says profile and part."""


def deployed_as(flow: str, profile: str) -> str:
    """The name of a flow's deployment of a profile, as `simpsons-collect`; by it `prefect` knows `collect/…`."""
    return f"{profile}-{'pipeline' if flow == 'wikistyle' else flow}"
