"""Which features extractor fits which observations."""

from typing import Any

from gymnasium import spaces
from stable_baselines3.common.preprocessing import is_image_space
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor, CombinedExtractor, FlattenExtractor, NatureCNN


def check_extractor_fits(
    space: spaces.Space[Any], extractor: type[BaseFeaturesExtractor], normalize_images: bool
) -> None:
    """
    SB3's own extractors each fit one kind of observation space.

    :param space: the observation space
    :param extractor: class of the features extractor
    :param normalize_images: whether images are divided by 255
    :raises ValueError: if they do not fit; names the policy that fits
    """
    is_dict = isinstance(space, spaces.Dict)
    fits = {
        FlattenExtractor: not is_dict,
        CombinedExtractor: is_dict,
        NatureCNN: is_image_space(space, check_channels=False, normalized_image=not normalize_images),
    }
    if not fits.get(extractor, True):
        better = "MultiInputPolicy" if is_dict else "CnnPolicy" if is_image_space(space) else "FlowPolicy"
        of_floats = extractor is NatureCNN and is_image_space(space, check_channels=False, normalized_image=True)
        raise ValueError(
            f'this policy\'s {extractor.__name__} does not fit the observation space {space}; use "{better}"'
            + (", or normalize_images=False for images that are not bytes" if of_floats else "")
        )
