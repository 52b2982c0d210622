"""ResNet, vision transformer and CLIP's vision tower in plain PyTorch, under the names of the public weights."""

import torch
import torch.nn.functional as F
from torch import nn


def randomise(module: nn.Module, seed: int) -> nn.Module:
    """Random weights and batch statistics, so that no array is 0 or 1 by default; in evaluation mode."""
    generator = torch.Generator().manual_seed(seed)
    for name, tensor in module.state_dict().items():
        if not tensor.is_floating_point():
            continue
        noise = torch.randn(tensor.shape, generator=generator)
        if name.endswith("running_var"):
            tensor.copy_(0.5 + noise.abs())
        elif tensor.ndim > 1:
            tensor.copy_(noise / tensor[0].numel() ** 0.5)
        elif name.endswith(("weight", "gamma")):
            tensor.copy_(1 + 0.1 * noise)
        else:
            tensor.copy_(0.1 * noise)
    return module.eval()


class Basic(nn.Module):
    expansion = 1

    def __init__(self, channels, width, stride):
        super().__init__()
        self.conv1 = nn.Conv2d(channels, width, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.downsample = downsample(channels, width, stride)

    def forward(self, x):
        y = F.relu(self.bn1(self.conv1(x)))
        return F.relu(self.bn2(self.conv2(y)) + self.downsample(x))


class Deep(nn.Module):
    expansion = 4

    def __init__(self, channels, width, stride):
        super().__init__()
        self.conv1 = nn.Conv2d(channels, width, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, stride, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, 4 * width, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(4 * width)
        self.downsample = downsample(channels, 4 * width, stride)

    def forward(self, x):
        y = F.relu(self.bn1(self.conv1(x)))
        y = F.relu(self.bn2(self.conv2(y)))
        return F.relu(self.bn3(self.conv3(y)) + self.downsample(x))


def downsample(channels, width, stride):
    if channels == width and stride == 1:
        return nn.Identity()
    return nn.Sequential(nn.Conv2d(channels, width, 1, stride, bias=False), nn.BatchNorm2d(width))


class TorchResNet(nn.Module):
    def __init__(self, block, stages):
        super().__init__()
        self.conv1 = nn.Conv2d(3, 64, 7, 2, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        self.maxpool = nn.MaxPool2d(3, 2, 1)
        channels = 64
        for index, blocks in enumerate(stages):
            layers = []
            for number in range(blocks):
                layers.append(block(channels, 64 * 2**index, 2 if index and not number else 1))
                channels = 64 * 2**index * block.expansion
            setattr(self, f"layer{index + 1}", nn.Sequential(*layers))
        self.fc = nn.Linear(channels, 10)

    def forward(self, x):
        """The last feature map; the classifier is there for its name only."""
        x = self.maxpool(F.relu(self.bn1(self.conv1(x))))
        return self.layer4(self.layer3(self.layer2(self.layer1(x))))


class TorchAttention(nn.Module):
    def __init__(self, width, heads):
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)

    def forward(self, x):
        b, t, c = x.shape
        q, k, v = self.qkv(x).reshape(b, t, 3, self.heads, c // self.heads).permute(2, 0, 3, 1, 4)
        weights = (q @ k.transpose(-1, -2) / (c // self.heads) ** 0.5).softmax(-1)
        return self.proj((weights @ v).transpose(1, 2).reshape(b, t, c))


class Scale(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.gamma = nn.Parameter(torch.ones(width))

    def forward(self, x):
        return x * self.gamma


class TorchViTBlock(nn.Module):
    def __init__(self, width, heads, has_layer_scale):
        super().__init__()
        self.norm1 = nn.LayerNorm(width, eps=1e-6)
        self.attn = TorchAttention(width, heads)
        self.ls1 = Scale(width) if has_layer_scale else nn.Identity()
        self.norm2 = nn.LayerNorm(width, eps=1e-6)
        self.mlp = nn.ModuleDict({"fc1": nn.Linear(width, 4 * width), "fc2": nn.Linear(4 * width, width)})
        self.ls2 = Scale(width) if has_layer_scale else nn.Identity()

    def forward(self, x):
        x = x + self.ls1(self.attn(self.norm1(x)))
        return x + self.ls2(self.mlp["fc2"](F.gelu(self.mlp["fc1"](self.norm2(x)))))


class TorchViT(nn.Module):
    def __init__(self, *, size, patch, width, depth, heads, has_layer_scale):
        super().__init__()
        self.cls_token = nn.Parameter(torch.zeros(1, 1, width))
        self.pos_embed = nn.Parameter(torch.zeros(1, 1 + (size // patch) ** 2, width))
        if has_layer_scale:  # as DINOv2 has it
            self.mask_token = nn.Parameter(torch.zeros(1, width))
        self.patch_embed = nn.ModuleDict({"proj": nn.Conv2d(3, width, patch, patch)})
        self.blocks = nn.Sequential(*[TorchViTBlock(width, heads, has_layer_scale) for _ in range(depth)])
        self.norm = nn.LayerNorm(width, eps=1e-6)

    def forward(self, x):
        x = self.patch_embed["proj"](x).flatten(2).transpose(1, 2)
        x = torch.cat([self.cls_token.expand(len(x), -1, -1), x], 1) + self.pos_embed
        return self.norm(self.blocks(x))


class TorchClipAttention(nn.Module):
    def __init__(self, width, heads):
        super().__init__()
        self.heads = heads
        for name in ("q_proj", "k_proj", "v_proj", "out_proj"):
            setattr(self, name, nn.Linear(width, width))

    def forward(self, x):
        b, t, c = x.shape
        q, k, v = (
            layer(x).reshape(b, t, self.heads, -1).transpose(1, 2) for layer in (self.q_proj, self.k_proj, self.v_proj)
        )
        weights = (q @ k.transpose(-1, -2) * (c // self.heads) ** -0.5).softmax(-1)
        return self.out_proj((weights @ v).transpose(1, 2).reshape(b, t, c))


class TorchClipLayer(nn.Module):
    def __init__(self, width, heads):
        super().__init__()
        self.self_attn = TorchClipAttention(width, heads)
        self.layer_norm1 = nn.LayerNorm(width, eps=1e-5)
        self.mlp = nn.ModuleDict({"fc1": nn.Linear(width, 4 * width), "fc2": nn.Linear(4 * width, width)})
        self.layer_norm2 = nn.LayerNorm(width, eps=1e-5)

    def forward(self, x):
        x = x + self.self_attn(self.layer_norm1(x))
        y = self.mlp["fc1"](self.layer_norm2(x))
        return x + self.mlp["fc2"](y * torch.sigmoid(1.702 * y))


class TorchClip(nn.Module):
    def __init__(self, *, size, patch, width, depth, heads):
        super().__init__()
        tokens = 1 + (size // patch) ** 2
        self.vision_model = nn.Module()
        self.vision_model.embeddings = nn.Module()
        self.vision_model.embeddings.class_embedding = nn.Parameter(torch.zeros(width))
        self.vision_model.embeddings.patch_embedding = nn.Conv2d(3, width, patch, patch, bias=False)
        self.vision_model.embeddings.position_embedding = nn.Embedding(tokens, width)
        self.vision_model.pre_layrnorm = nn.LayerNorm(width, eps=1e-5)
        self.vision_model.encoder = nn.Module()
        self.vision_model.encoder.layers = nn.ModuleList(TorchClipLayer(width, heads) for _ in range(depth))
        self.vision_model.post_layernorm = nn.LayerNorm(width, eps=1e-5)
        self.visual_projection = nn.Linear(width, 8, bias=False)
        self.logit_scale = nn.Parameter(torch.zeros(()))

    def forward(self, x):
        model = self.vision_model
        x = model.embeddings.patch_embedding(x).flatten(2).transpose(1, 2)
        x = torch.cat([model.embeddings.class_embedding.expand(len(x), 1, -1), x], 1)
        x = model.pre_layrnorm(x + model.embeddings.position_embedding.weight)
        for layer in model.encoder.layers:
            x = layer(x)
        return model.post_layernorm(x)


class TorchSmallBlock(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.norm1 = nn.GroupNorm(8, width, eps=1e-6)
        self.conv1 = nn.Conv2d(width, width, 3, padding=1)
        self.norm2 = nn.GroupNorm(8, width, eps=1e-6)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1)

    def forward(self, x):
        return x + self.conv2(F.relu(self.norm2(self.conv1(F.relu(self.norm1(x))))))


class TorchSmall(nn.Module):
    """The small backbone, in the form that is fastest in PyTorch: its patch layers are strided convolutions."""

    def __init__(self, stem_width=48, width=96, depth=3):
        super().__init__()
        self.stem = nn.Conv2d(4, stem_width, 4, 4)
        self.stem_norm = nn.GroupNorm(8, stem_width, eps=1e-6)
        self.merge = nn.Conv2d(stem_width, width, 2, 2)
        self.blocks = nn.Sequential(*[TorchSmallBlock(width) for _ in range(depth)])
        self.norm = nn.GroupNorm(8, width, eps=1e-6)

    def forward(self, x):
        """The feature map."""
        x = self.merge(F.relu(self.stem_norm(self.stem(x))))
        return F.relu(self.norm(self.blocks(x)))


def small_to_jax(module):
    """Parameters of `TorchSmall` under the names and layouts of our small backbone."""
    arrays = {name: tensor.detach().numpy() for name, tensor in module.state_dict().items()}
    params = {}
    for name, array in arrays.items():
        *path, kind = name.replace("blocks.", "block_").split(".")
        if array.ndim == 4:
            array = array.transpose(2, 3, 1, 0)  # [h, w, in, out]
            if path[0] in ("stem", "merge"):
                array = array.reshape(-1, array.shape[-1])  # patches are flattened as rows, columns, channels
            kind = "kernel"
        elif kind == "weight":
            kind = "scale"
        node = params
        for part in path:
            node = node.setdefault(part, {})
        node[kind] = array
    return params
