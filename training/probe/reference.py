"""The reference's way to a linear head: SGD with a cosine, as facebookresearch/dino's eval_linear."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from training.dino.schedules import cosine
from training.probe.linear import Head, Loss

EPOCHS, BATCH, MOMENTUM = 100, 256, 0.9
LEARNING_RATE = 0.001  # for a batch of 256, scaled to the batch
FIRST_WEIGHTS = 0.01  # standard deviation


def fit(features: NDArray[np.float32], outputs: int, loss: Loss, train: NDArray[np.int64], seed: int = 0) -> Head:
    """A head after 100 epochs of SGD, momentum 0.9, no weight decay, the rate falling to 0 epoch by epoch.

    Features are taken as they are, which suits normed cls tokens (the protocol's are those of the last four
    blocks); others may be far too large or too small for its one learning rate. The reference crops and flips
    each image anew in each epoch, these features are of the image as it is: expect a little less of it here.
    With some hundred images its few steps learn hardly anything. Depends on the seed alone, on one device.
    """
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    chance = torch.Generator().manual_seed(seed)
    x = torch.from_numpy(np.asarray(features[train], np.float32)).to(device)
    weight = (FIRST_WEIGHTS * torch.randn(outputs, x.shape[1], generator=chance)).to(device).requires_grad_()
    bias = torch.zeros(outputs, device=device, requires_grad=True)
    optimizer = torch.optim.SGD([weight, bias], lr=LEARNING_RATE, momentum=MOMENTUM)
    for epoch in range(EPOCHS):
        optimizer.param_groups[0]["lr"] = cosine(epoch, EPOCHS, LEARNING_RATE * BATCH / 256, 0.0)
        for batch in torch.randperm(len(train), generator=chance).split(BATCH):
            optimizer.zero_grad()
            loss(torch.nn.functional.linear(x[batch.to(device)], weight, bias), train[batch.numpy()]).backward()
            optimizer.step()
    return Head(weight.detach().cpu().numpy(), bias.detach().cpu().numpy(), 0.0)
